local order_status = use "lib.bookstore.order_status"

return policy "order status follows preparation" {
  service = "order",
  on      = "DeliveryPrepared",
  handle  = function(event)
    order_status.follow(event.orderId, event.status)
  end,
}
