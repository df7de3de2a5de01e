return policy "delivery is created when ordered" {
  service = "delivery",
  on      = "Ordered",
  handle  = function(event)
    store.create("deliveries", {
      orderId = event.orderId, deliveryAddress = event.deliveryAddress, deliveryStatus = "CreateDelivery",
    })
  end,
}
