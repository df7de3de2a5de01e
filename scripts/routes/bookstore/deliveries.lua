local lookup = use "lib.lookup"
local whole_number = use "lib.whole_number"
local lookup_breaker = breaker "delivery"

return {
  event "DeliveryStatusChanged" {
    service = "delivery",
    key     = { order = "orderId" },
    fields  = { integer "id", integer "orderId", text "deliveryStatus" },
  },

  -- Its rows come from the policy "delivery is created when ordered"; each step of the way is a PATCH.
  resource "deliveries" {
    service = "delivery",
    rel     = "delivery",
    fields  = {
      integer "orderId" { required = true },
      text    "deliveryAddress",
      text    "deliveryStatus",
    },
    finders = { findFirstByOrderId = { "orderId" } },

    on_update = function(delivery, before)
      if delivery.deliveryStatus ~= before.deliveryStatus then bus.emit("DeliveryStatusChanged", delivery) end
    end,
  },

  -- What an order still needs before it is shipped; the delivery service's own note, not for clients.
  resource "shippingNotes" {
    service = "delivery",
    rel     = "shippingNote",
    methods = { "GET" },
    fields  = {
      integer "orderId" { required = true, unique = true },
      boolean "prepared",
      boolean "payed",
    },
  },

  -- How far a delivery is.
  route "select delivery info" {
    service = "delivery",
    method  = "GET",
    path    = "/selectDeliveryInfo",
    handle  = function(request)
      local id = whole_number.parameter(request, "deliveryId")
      return lookup.text(lookup_breaker, "deliveries", id, "deliveryStatus")
    end,
  },
}
