-- Paying through VAN, whoever asks for it: an order that was placed, or a client by POST /payments.
local event_of = {
  PAYMENT_COMPLETED = "Payed",
  PAYMENT_FAILED    = "PaymentFailed",
  PAYMENT_CANCELED  = "PaymentCanceled",
}

return {
  -- What VAN answers decides; when it does not answer, the payment has failed.
  status_of = function(amount)
    local asked = amount and ("%.0f"):format(amount) or "" -- VAN refuses a payment without an amount
    local answer = try(http.get, "http://van/requestPayment?payment=" .. asked)
    return answer and answer.body == "PAYMENT_COMPLETED" and "PAYMENT_COMPLETED" or "PAYMENT_FAILED"
  end,

  -- Tells what became of a payment.
  announce = function(payment)
    bus.emit(event_of[payment.status], {
      orderId = payment.orderId, paymentId = payment.id, payStatus = payment.status,
    })
  end,
}
