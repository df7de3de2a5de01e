local payment = use "lib.bookstore.payment"

return policy "payment is made when ordered" {
  service = "payment",
  on      = "Ordered",
  handle  = function(event)
    if store.first("payments", { orderId = event.orderId }) then return end -- a client was faster
    payment.announce(store.create("payments", {
      orderId = event.orderId, amount = event.payAmount, type = event.payType,
      status  = payment.status_of(event.payAmount),
    }))
  end,
}
