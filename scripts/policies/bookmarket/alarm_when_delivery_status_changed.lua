return policy "alarm when delivery status changed" {
  service = "bookalarm",
  on      = { "Shipped", "DeliveryStatusChanged", "DeliveryCanceled" },
  handle  = function(event)
    local alarm = store.create("bookAlarms", {
      deliveryId     = event.id,
      bookMessage    = "Book Delivery Status Changed : " .. event.status,
      deliveryStatus = event.status,
      orderId        = event.orderId,
    })
    bus.emit("MessageSended", alarm)
  end,
}
