-- What VAN answers decides; when it does not answer, the payment has failed.
return policy "payment is made when ordered" {
  service = "payment",
  on      = "Ordered",
  handle  = function(event)
    local amount = event.payAmount and ("%.0f"):format(event.payAmount) or "" -- VAN refuses an order without an amount
    local answer = try(http.get, "http://van/requestPayment?payment=" .. amount)
    local payed = answer ~= nil and answer.body == "PAYMENT_COMPLETED"
    local payment = store.create("payments", {
      orderId = event.orderId, amount = event.payAmount, type = event.payType,
      status  = payed and "PAYMENT_COMPLETED" or "PAYMENT_FAILED",
    })
    bus.emit(payed and "Payed" or "PaymentFailed", {
      orderId = event.orderId, paymentId = payment.id, payStatus = payment.status,
    })
  end,
}
