-- Says that a crosslink is there, gives it its share of the parts for a while, and reads on in these.
-- Takes the name, who asks, for how many milliseconds a part is his, how many events of each part he wants, and the
-- parts that he has. Gives how many parts are his share, those that he has now, and events with their ids; then how many
-- events wait in all parts, and how many bytes they are.
local name, me, lease, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local known = {}
for index = 5, #ARGV do
    known[ARGV[index]] = true
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local members = name .. ':members'
redis.call('ZADD', members, now, me)
redis.call('ZREMRANGEBYSCORE', members, '-inf', now - lease)
local share = math.ceil(16 / redis.call('ZCARD', members))

local owned, free, waiting = {}, {}, 0
for part = 0, 15 do
    local owner = redis.call('GET', name .. ':' .. part .. ':owner')
    if owner == me then
        owned[#owned + 1] = part
    elseif not owner then
        free[#free + 1] = part
    end
    waiting = waiting + redis.call('XLEN', name .. ':' .. part)
end
for _, part in ipairs(free) do
    -- One that he had and lost he gets anew with the next question, with what is left of it.
    if #owned < share and not known[tostring(part)] then
        owned[#owned + 1] = part
    end
end

local events = {}
local function push(entry)
    if entry and entry[2] then
        events[#events + 1] = entry[1]
        events[#events + 1] = entry[2][2]
    end
end
-- Takes over up to `most` of what somebody has read and not delivered, from an id on: he is gone, or it was this one
-- before it lost the part. Gives from where the rest of it is to be taken over.
local function claim(key, from)
    local claimed = redis.call('XAUTOCLAIM', key, 'crosslink', me, 0, from, 'COUNT', most)
    for _, entry in ipairs(claimed[2]) do
        push(entry)
    end
    if claimed[1] ~= '0-0' then
        redis.call('SET', key .. ':claim', claimed[1])
        return claimed[1]
    end
    redis.call('DEL', key .. ':claim')
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', key, 'crosslink')) do
        if consumer[2] ~= me then
            redis.call('XGROUP', 'DELCONSUMER', key, 'crosslink', consumer[2])
        end
    end
end
for index, part in ipairs(owned) do
    local key = name .. ':' .. part
    redis.call('SET', key .. ':owner', me, 'PX', lease)
    if not known[tostring(part)] then
        -- It fails where the group is there.
        redis.pcall('XGROUP', 'CREATE', key, 'crosslink', '0', 'MKSTREAM')
        redis.call('SET', key .. ':claim', '0-0')
    end
    if index <= share and most > 0 then
        local from = redis.call('GET', key .. ':claim')
        if not from or not claim(key, from) then
            local read = redis.call('XREADGROUP', 'GROUP', 'crosslink', me, 'COUNT', most, 'STREAMS', key, '>')
            for _, entry in ipairs(read and read[1][2] or {}) do
                push(entry)
            end
        end
    end
end
return { share, owned, events, waiting, tonumber(redis.call('GET', name .. ':bytes') or '0') }
