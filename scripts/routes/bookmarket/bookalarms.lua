local health = use "lib.health"
local lookup = use "lib.lookup"
local whole_number = use "lib.whole_number"
local lookup_breaker = breaker "bookAlarmLookup"

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

    -- A message that belongs to no order is for nobody in particular.
    on_create = function(alarm)
      if alarm.orderId then bus.emit("MessageSended", alarm) end
    end,
  },

  -- For whoever keeps the shop; from "alarm when breaker opens".
  resource "breakerAlarms" {
    service = "bookalarm",
    fields  = { text "breaker", text "message" },
  },

  -- The text of a message.
  route "select book alarm info" {
    service = "bookalarm",
    method  = "GET",
    path    = "/selectBookAlarmInfo",
    handle  = function(request)
      return lookup.text(lookup_breaker, "bookAlarms", whole_number.parameter(request, "id"), "bookMessage")
    end,
  },

  health.is_healthy("bookalarm"),

  -- Takes a while and says nothing: a load for whoever tries out scaling.
  route "auto scale test" {
    service = "bookalarm",
    method  = "GET",
    path    = "/autoScaleTest",
    handle  = function()
      task.sleep(config.load_lasts)
      return ""
    end,
  },
}
