-- A hand-off in nginx. Lua has no parser for URLs as browsers read them, so an expression takes only what is harmless:
-- no userinfo, no backslash, no blank, no control character, no host beyond ASCII. Nothing is normalised.
local URL = [[^(https?://)([a-z0-9.-]+)((?::\d{1,5})?)(/[^?#\s\\\x00-\x1f\x7f]*)?(\?[^#\s\\\x00-\x1f\x7f]*)?(#[^\s\\\x00-\x1f\x7f]*)?$]]

-- The visitor's identity, escaped for a query, or nothing. A plus in a cookie is a plus.
local function identity()
    for _, cookie in ipairs({ "cookie_km_ni", "cookie_km_ai" }) do
        local value = ngx.var[cookie]
        if value and value ~= "" then
            return ngx.escape_uri(ngx.unescape_uri((value:gsub("%+", "%%2B"))))
        end
    end
end

-- Takes the file with a host a line, and gives what answers a request.
return function(file)
    local listed = {}
    for host in io.lines(file) do
        listed[host] = true
    end
    return function()
        local to = ngx.var.arg_to
        local part = to and ngx.re.match(ngx.unescape_uri(to), URL, "ijo")
        if not part then
            return ngx.exit(400)
        end
        if not listed[part[2]:lower()] then
            return ngx.exit(403)
        end
        local query, known = part[5] or "", identity()
        if known then
            query = (#query > 1 and query .. "&" or "?") .. "kmi=" .. known
        end
        -- A part that did not take part in the match is false.
        local path, fragment = part[4] or "/", part[6] or ""
        ngx.status = 302
        ngx.header["Location"] = part[1] .. part[2] .. part[3] .. path .. query .. fragment
        ngx.header["Cache-Control"] = "no-store"
        ngx.header["Content-Length"] = 0
        return ngx.send_headers()
    end
end
