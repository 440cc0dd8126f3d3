-- Takes the name, who leaves, and the parts that he leaves to others; of all 16 he is a member no more.
local name, me = ARGV[1], ARGV[2]
for index = 3, #ARGV do
    local key = name .. ':' .. ARGV[index] .. ':owner'
    if redis.call('GET', key) == me then
        redis.call('DEL', key)
    end
end
if #ARGV == 2 + 16 then
    redis.call('ZREM', name .. ':members', me)
end
return 0
