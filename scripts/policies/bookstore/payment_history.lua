local function note(row, event)
  row.paymentId = event.paymentId
end

-- One row for each thing that happened to the payment of an order.
return view "paymentHistories" {
  service = "paymenthistory",
  rel     = "paymentHistory",
  by      = { "orderId", "payStatus" },
  fields  = {
    integer "orderId",
    integer "paymentId",
    text    "payStatus",
  },
  finders = { findByOrderId = { "orderId" } },

  on = { Payed = note, PaymentFailed = note, PaymentCanceled = note },
}
