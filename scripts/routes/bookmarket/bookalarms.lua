local whole_number = use "lib.whole_number"
local lookup = breaker "bookAlarmLookup"

return {
  event "MessageSended" {
    service = "bookalarm",
    key     = { order = "orderId" },
    fields  = {
      integer "id", integer "deliveryId", text "bookMessage", text "deliveryStatus", integer "orderId",
    },
  },

  -- One row a message to the customer of an order; they come from "alarm when delivery status changed".
  resource "bookAlarms" {
    service = "bookalarm",
    rel     = "bookAlarm",
    fields  = {
      integer "deliveryId",
      text    "bookMessage",
      text    "deliveryStatus",
      integer "orderId",
    },
  },

  -- For whoever keeps the shop; from "alarm when breaker opens".
  resource "breakerAlarms" {
    service = "bookalarm",
    fields  = { text "breaker", text "message" },
  },

  -- The text of a message. An id below 1 takes longer than anybody waits, as a slow message service would.
  route "select book alarm info" {
    service = "bookalarm",
    method  = "GET",
    path    = "/selectBookAlarmInfo",
    handle  = function(request)
      local id = whole_number.parameter(request, "id")
      return lookup:call(function()
        if id <= 0 then task.sleep("10s") end
        local alarm = store.get("bookAlarms", id)
        if not alarm then error("there is no message " .. id) end
        return alarm.bookMessage
      end, function() return "CircuitBreaker!!!" end)
    end,
  },

  -- Takes three seconds: a load for whoever tries out scaling.
  route "auto scale test" {
    service = "bookalarm",
    method  = "GET",
    path    = "/autoScaleTest",
    handle  = function()
      task.sleep("3s")
      return ""
    end,
  },
}
