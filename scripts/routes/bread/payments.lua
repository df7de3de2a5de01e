local payment = use "lib.bread.payment"

local payment_fields = { integer "id", integer "orderId", number "price", text "action" }

return {
  event "PayApproved" { service = "pay", key = { order = "orderId" }, fields = payment_fields },
  event "PayCanceled" { service = "pay", key = { order = "orderId" }, fields = payment_fields },

  resource "payments" {
    service = "pay",
    rel     = "payment",
    fields  = {
      integer "orderId" { required = true, unique = true },
      number  "price",
      text    "action",
    },
    finders = { findByOrderId = { "orderId" } },

    -- An order is paid once. Whoever pays again gets the payment that is there; whoever cancels, cancels it.
    before_create = function(row)
      local existing = store.first("payments", { orderId = row.orderId })
      if not existing then return end
      if payment.is_cancel(row.action) and not payment.is_cancel(existing.action) then
        existing = store.update("payments", existing.id, { action = row.action })
        bus.emit("PayCanceled", existing)
      end
      return existing
    end,

    on_create = function(row)
      bus.emit(payment.is_cancel(row.action) and "PayCanceled" or "PayApproved", row)
    end,

    on_update = function(row, before)
      if payment.is_cancel(row.action) and not payment.is_cancel(before.action) then
        bus.emit("PayCanceled", row)
      end
    end,
  },
}
