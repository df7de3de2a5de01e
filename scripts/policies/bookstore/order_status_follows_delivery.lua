local order_status = use "lib.bookstore.order_status"

return policy "order status follows delivery" {
  service = "order",
  on      = "DeliveryStatusChanged",
  handle  = function(event)
    order_status.follow(event.orderId, event.deliveryStatus)
  end,
}
