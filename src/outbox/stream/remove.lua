-- Takes the name, and the ids of the dead letters that go.
local name = ARGV[1]
for index = 2, #ARGV do
    redis.call('DECRBY', name .. ':dead:bytes', redis.call('HSTRLEN', name .. ':dead', ARGV[index]))
    redis.call('HDEL', name .. ':dead', ARGV[index])
end
return 0
