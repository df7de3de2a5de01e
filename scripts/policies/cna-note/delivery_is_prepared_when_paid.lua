return policy "delivery is prepared when paid" {
  service = "delivery",
  on      = "Paid",
  handle  = function(event)
    local delivery = store.create("deliveries", { orderId = event.orderId, state = "Preparing" })
    bus.emit("Delivered", delivery)
  end,
}
