return policy "payment is refunded when canceled" {
  service = "payment",
  on      = "OrderCanceled",
  handle  = function(event)
    local payment = store.first("payments", { orderId = event.orderId, status = "PAYMENT_COMPLETED" })
    if payment then
      payment = store.update("payments", payment.id, { status = "PAYMENT_CANCELED" })
      bus.emit("PaymentCanceled", { orderId = event.orderId, paymentId = payment.id, payStatus = payment.status })
    end
  end,
}
