-- Whole numbers as clients send them, 200 or "200", and what they are told when it is something else.
local function read(value) return math.tointeger(tonumber(value)) end

return {
  read = read,

  -- A parameter of the address; the texts are those that the clients of the original services know.
  parameter = function(request, name)
    local text = request.query[name]
    if not text or text == "" then fail(400, ("Required long parameter '%s' is not present"):format(name)) end
    return read(text) or fail(400, "Failed to convert value of type 'java.lang.String' to required type 'long'; "
      .. ('nested exception is java.lang.NumberFormatException: For input string: "%s"'):format(text))
  end,
}
