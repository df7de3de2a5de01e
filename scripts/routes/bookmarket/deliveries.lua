local delivery_fields = { integer "id", integer "orderId", integer "customerId", text "status" }
local by_order = { order = "orderId" }

return {
  event "Shipped"               { service = "delivery", key = by_order, fields = delivery_fields },
  event "DeliveryStatusChanged" { service = "delivery", key = by_order, fields = delivery_fields },
  event "DeliveryCanceled"      { service = "delivery", key = by_order, fields = delivery_fields },

  -- Its rows come from the policy "delivery starts when paid"; whoever delivers changes the status with PATCH.
  resource "deliveries" {
    service = "delivery",
    rel     = "delivery",
    fields  = {
      integer "orderId" { required = true },
      integer "customerId",
      text    "status" { required = true, default = "Shipped" },
    },
    finders = { findByOrderId = { "orderId" } },

    on_create = function(delivery)
      bus.emit("Shipped", delivery)
    end,

    on_update = function(delivery, before)
      if delivery.status == before.status then return end
      bus.emit(delivery.status == "DeliveryCanceled" and "DeliveryCanceled" or "DeliveryStatusChanged", delivery)
    end,
  },
}
