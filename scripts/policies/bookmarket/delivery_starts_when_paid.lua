return policy "delivery starts when paid" {
  service = "delivery",
  on      = "Paid",
  handle  = function(event)
    local delivery = store.create("deliveries", {
      orderId = event.orderId, customerId = event.customerId, status = "Shipped",
    })
    bus.emit("Shipped", delivery)
  end,
}
