-- SPDX-License-Identifier: MIT
-- What the host keeps for itself: the events of service "moontide".
local function tree(policy, extra)
  return {
    ["systems/t.lua"] = "return { services = { a = {} } }",
    ["routes/t/a.lua"] = [[return {
      route "emit" { service = "a", method = "GET", path = "/emit",
        handle = function() bus.emit("ServiceStopped", { service = "a" }) end },
      route "near" { service = "a", method = "GET", path = "/near",
        handle = function() bus.emit("ServiceStoped", { service = "a" }) end },
      ]] .. (extra or "") .. "}",
    ["policies/t/p.lua"] = policy,
  }
end

describe("SHOP-7f events of the host", function()
  it("a policy may react to one", function()
    scripts(tree [[return policy "p" { service = "a", on = "ServiceStopped", key = "service",
      handle = function() end }]])
    assert.equal(500, request { path = "/emit" }.status)
  end)

  it("a policy that misspells one is told", function()
    assert.error_matches('did you mean "ServiceStopped"', scripts, tree [[return policy "p" { service = "a",
      on = "ServiceStoped", handle = function() end }]])
  end)

  it("scripts cannot emit one", function()
    scripts(tree [[return policy "p" { service = "a", on = "ServiceStopped", handle = function() end }]])
    local answer = request { path = "/emit" }
    assert.equal(500, answer.status)
    assert.matches('event "ServiceStopped" is the host\'s own', answer.body.message)
    assert.same({}, events())
  end)

  it("they are not suggested where they cannot be used", function()
    scripts(tree [[return policy "p" { service = "a", on = "ServiceStopped", handle = function() end }]])
    assert.falsy(request { path = "/near" }.body.message:find("did you mean", 1, true))
  end)

  it("scripts cannot declare one, nor a service of the host's name", function()
    assert.error_matches("the host has an event of this name", scripts, tree(
      [[return policy "p" { service = "a", on = "ServiceStopped", handle = function() end }]],
      [[event "ServiceStopped" { service = "a", key = { x = "x" }, fields = { text "x" } },]]))
    assert.error_matches("the name is the host's", scripts, {
      ["systems/t.lua"] = "return { services = { moontide = {} } }",
      ["routes/t/a.lua"] = [[return { resource "rows" { service = "moontide", fields = { text "x" } } }]],
    })
  end)
end)
