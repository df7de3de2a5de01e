local order_status = use "lib.bookstore.order_status"

return policy "order fails with its payment" {
  service = "order",
  on      = "PaymentFailed",
  handle  = function(event)
    order_status.follow(event.orderId, "Payment_Failed")
  end,
}
