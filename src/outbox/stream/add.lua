-- Adds groups of events, each as a whole or not at all.
-- Takes the name, the most bytes, 1 if the oldest give way, and for each group the number of its events and for each of
-- these its part and itself. Gives how many gave way, and for each group 1 if it was added.
local name, most, gives_way = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'

-- Drops up to a hundred of the part with the oldest event; gives how many that were.
local function drop_oldest()
    local oldest, part
    for candidate = 0, 15 do
        local first = redis.call('XRANGE', name .. ':' .. candidate, '-', '+', 'COUNT', 1)[1]
        local number = first and tonumber(string.match(first[1], '^%d+'))
        if number and (not oldest or number < oldest) then
            oldest, part = number, name .. ':' .. candidate
        end
    end
    if not part then
        return 0
    end
    local events = redis.call('XRANGE', part, '-', '+', 'COUNT', 100)
    for _, event in ipairs(events) do
        redis.call('DECRBY', name .. ':bytes', #event[2][2])
        redis.call('XACK', part, 'crosslink', event[1])
        redis.call('XDEL', part, event[1])
    end
    return #events
end

local at, dropped, answer = 4, 0, { 0 }
while ARGV[at] do
    local events, bytes = tonumber(ARGV[at]), 0
    for index = 1, events do
        bytes = bytes + #ARGV[at + 2 * index]
    end
    local has_room = function()
        return tonumber(redis.call('GET', name .. ':bytes') or '0') + bytes <= most
    end
    while gives_way and bytes <= most and not has_room() do
        local gone = drop_oldest()
        dropped = dropped + gone
        if gone == 0 then
            break
        end
    end
    if has_room() then
        for index = 1, events do
            local part = ARGV[at + 2 * index - 1]
            local id = string.format('%.0f-%s', redis.call('INCR', name .. ':last'), part)
            redis.call('XADD', name .. ':' .. part, id, 'event', ARGV[at + 2 * index])
        end
        redis.call('INCRBY', name .. ':bytes', bytes)
        answer[#answer + 1] = 1
    else
        answer[#answer + 1] = 0
    end
    at = at + 1 + 2 * events
end
answer[1] = dropped
return answer
