local health = use "lib.bookstore.health"
local van = breaker "van"

local routes = {
  health.is_healthy("van", "Zombie..."),
  health.make_zombie("van"),
  health.is_ready("van"),

  -- The outside company. An amount of 0 takes longer than anybody waits.
  route "request payment" {
    service = "van",
    method  = "GET",
    path    = "/requestPayment",
    handle  = function(request)
      local text = request.query.payment
      if not text then fail(400, "Required long parameter 'payment' is not present") end
      local amount = tonumber(text)
      if not amount then
        fail(400, "Failed to convert value of type 'java.lang.String' to required type 'long'; nested exception is "
          .. ('java.lang.NumberFormatException: For input string: "%s"'):format(text))
      end
      return van:call(function()
        if amount == 0 then task.sleep("10s") end
        return "PAYMENT_COMPLETED"
      end, function() return "PAYMENT_FAILED" end)
    end,
  },
}

for _, method in ipairs { "POST", "PUT", "PATCH", "DELETE" } do
  routes[#routes + 1] = route("request payment by " .. method) {
    service = "van", method = method, path = "/requestPayment", handle = function() end,
  }
end

return routes
