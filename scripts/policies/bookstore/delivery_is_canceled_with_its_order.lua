local shipping = use "lib.bookstore.shipping"

return policy "delivery is canceled with its order" {
  service = "delivery",
  on      = { "OrderCanceled", "PaymentFailed" },
  handle  = function(event)
    shipping.canceled(event.orderId)
  end,
}
