local shipping = use "lib.bookstore.shipping"

return policy "order is shipped when prepared" {
  service = "delivery",
  on      = "DeliveryPrepared",
  handle  = function(event)
    shipping.done(event.orderId, "prepared")
  end,
}
