return policy "payment is due later when deferred" {
  service = "booking",
  on      = "PaymentDeferred",
  handle  = function(event)
    bus.emit_in(event.wait_ms, "PaymentDue", event)
  end,
}
