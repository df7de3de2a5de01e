local stock = use "lib.bookstore.stock"
local whole_number = use "lib.whole_number"

return {
  event "DeliveryPrepared" {
    service = "bookInventory",
    key     = { order = "orderId" },
    fields  = { integer "id", integer "orderId", text "status" },
  },

  resource "books" {
    service = "bookInventory",
    rel     = "book",
    id      = "bookId",
    fields  = {
      text    "bookName",
      integer "stock" { min = 0, default = 0 },
    },
  },

  -- What of the stock belongs to which order: Delivery_Prepared, Stock_Lacked or DeliveryCanceled.
  resource "deliverables" {
    service = "bookInventory",
    rel     = "deliverable",
    id      = "deliverableId",
    fields  = {
      integer "orderId" { required = true },
      integer "bookId",
      integer "quantity",
      text    "status",
    },
    finders = {
      findByBookIdAndStatusOrderByOrderIdAsc = { "bookId", "status" },
      findByOrderId = { "orderId" },
    },
  },

  -- How many orders wait for a book; the stock's own note, not for clients.
  resource "waitingLists" {
    service = "bookInventory",
    rel     = "waitingList",
    methods = { "GET" },
    fields  = {
      integer "bookId" { required = true, unique = true },
      integer "orders",
    },
  },

  -- What came into the stock; clients use /stockInputs, which serves the orders that wait.
  resource "stockInputRecords" {
    service = "bookInventory",
    rel     = "stockInputRecord",
    methods = { "GET" },
    fields  = {
      integer "bookId" { required = true },
      integer "quantity" { required = true, min = 1 },
      text    "inCharger",
    },
  },

  route "stock input" {
    service = "bookInventory",
    method  = "POST",
    path    = "/stockInputs",
    handle  = function(request)
      local input = request.body
      if type(input) ~= "table" then fail(400, "a stock input is an object: bookId, quantity and inCharger") end
      local book_id, quantity = whole_number.read(input.bookId), whole_number.read(input.quantity)
      local known = book_id and store.get("books", book_id)
      if not known then fail(500, "No book for book id " .. tostring(input.bookId)) end
      if not quantity then fail(400, "quantity: expected a whole number, got " .. json.encode(input.quantity)) end
      local record = store.create("stockInputRecords", {
        bookId = book_id, quantity = quantity, inCharger = input.inCharger,
      })
      stock.came_in(book_id, record.quantity)
      return record
    end,
  },

  route "stock inputs" {
    service = "bookInventory",
    method  = "GET",
    path    = "/stockInputs",
    handle  = function() return json.array(store.find("stockInputRecords")) end,
  },

  route "one stock input" {
    service = "bookInventory",
    method  = "GET",
    path    = "/stockInputs/{id}",
    handle  = function(request)
      local id = whole_number.read(request.params.id)
      return id and store.get("stockInputRecords", id) or fail(404, "No stock input " .. request.params.id)
    end,
  },
}
