local function bakery(row, event)
  row.bakeryId, row.status = event.id, event.status
end

local function payment(row, event)
  row.paymentId, row.price, row.action = event.id, event.price, event.action
end

-- One row an order, cancelled ones too. PayApproved comes before Ordered: whichever is first makes the row.
return view "mypages" {
  service = "customer",
  rel     = "mypage",
  by      = "orderId",
  fields  = {
    integer "orderId",
    text    "item",
    integer "qty",
    integer "paymentId",
    number  "price",
    text    "action",
    integer "bakeryId",
    text    "status",
  },
  finders = { findByOrderId = { "orderId" } },

  on = {
    Ordered = function(row, event)
      row.item, row.qty = event.item, event.qty
      row.status = row.status or event.status
    end,
    PayApproved         = payment,
    PayCanceled         = payment,
    OrderConfirmed      = bakery,
    BakeryStatusChanged = bakery,
    OrderCanceled       = function(row)
      row.status = "Canceled"
    end,
  },
}
