return policy "order status follows delivery" {
  service = "order",
  on      = { "Shipped", "DeliveryStatusChanged", "DeliveryCanceled" },
  handle  = function(event)
    store.update("orders", event.orderId, { status = event.status })
  end,
}
