-- One row an order, made by whichever event is first: Paid mostly comes before Ordered. The furthest step stands.
return view "orderDashboards" {
  service = "orderDashboard",
  rel     = "orderDashboard",
  by      = "orderId",
  fields  = {
    integer "orderId",
    integer "branchId",
    text    "sauceId",
    integer "qty",
    integer "price",
    text    "state",
  },
  finders = { findByOrderId = { "orderId" } },

  on = {
    Ordered = function(row, event)
      row.branchId, row.sauceId, row.qty, row.price = event.branchId, event.sauceId, event.qty, event.price
      row.state = row.state or event.state
    end,
    Paid = function(row)
      if row.state == nil or row.state == "Registered" then row.state = "Preparing" end
    end,
    Delivered = function(row, event)
      row.state = event.state
    end,
  },
}
