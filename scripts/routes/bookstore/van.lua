local health = use "lib.health"
local whole_number = use "lib.whole_number"
local van = breaker "van"

local routes = {
  health.is_healthy("van"),
  health.make_zombie("van"),
  health.is_ready("van"),

  -- The outside company. An amount of 0 takes longer than anybody waits.
  route "request payment" {
    service = "van",
    method  = "GET",
    path    = "/requestPayment",
    handle  = function(request)
      local amount = whole_number.parameter(request, "payment")
      return van:call(function()
        if amount == 0 then task.sleep(config.hangs_for) end
        return "PAYMENT_COMPLETED"
      end, function() return "PAYMENT_FAILED" end)
    end,
  },
}

-- It was never specified what other methods do; they do nothing, and say 200.
for _, method in ipairs { "POST", "PUT", "PATCH", "DELETE" } do
  routes[#routes + 1] = route("request payment by " .. method) {
    service = "van", method = method, path = "/requestPayment", handle = function() end,
  }
end

return routes
