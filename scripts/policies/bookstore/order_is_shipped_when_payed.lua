local shipping = use "lib.bookstore.shipping"

return policy "order is shipped when payed" {
  service = "delivery",
  on      = "Payed",
  handle  = function(event)
    shipping.done(event.orderId, "payed")
  end,
}
