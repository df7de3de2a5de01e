local payment = use "lib.bread.payment"

return policy "payment is canceled with its order" {
  service = "pay",
  on      = "OrderCanceled",
  handle  = function(event)
    for _, row in ipairs(store.find("payments", { orderId = event.id })) do
      if not payment.is_cancel(row.action) then
        bus.emit("PayCanceled", store.update("payments", row.id, { action = "cancel" }))
      end
    end
  end,
}
