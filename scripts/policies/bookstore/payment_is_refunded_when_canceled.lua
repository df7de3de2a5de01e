local payment = use "lib.bookstore.payment"

return policy "payment is refunded when canceled" {
  service = "payment",
  on      = "OrderCanceled",
  handle  = function(event)
    local payed = store.first("payments", { orderId = event.orderId, status = "PAYMENT_COMPLETED" })
    if payed then payment.announce(store.update("payments", payed.id, { status = "PAYMENT_CANCELED" })) end
  end,
}
