-- What became of an order, for its customer's page: one row an order, cancelled ones too, whichever of its events comes
-- first.
local function status_of(row, event)
  row.status = event.status
end

return view "mypages" {
  service = "customerview",
  rel     = "mypage",
  by      = "orderId",
  fields  = {
    integer "orderId",
    integer "customerId",
    integer "bookId",
    integer "qty",
    integer "messageId",
    text    "status",
  },
  finders = { findByOrderId = { "orderId" } },

  on = {
    Ordered = function(row, event)
      row.customerId, row.bookId, row.qty = event.customerId, event.bookId, event.qty
    end,
    Paid                  = status_of,
    Shipped               = status_of,
    DeliveryStatusChanged = status_of,
    DeliveryCanceled      = status_of,
    MessageSended         = function(row, event)
      row.messageId = event.id
    end,
  },
}
