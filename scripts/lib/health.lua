-- The health routes that operators know from the first installations. A service that was made a zombie says so until it
-- is restarted.
local function answer(service, name, path, handle)
  return route(service .. " " .. name) { service = service, method = "GET", path = path, handle = handle }
end

return {
  is_healthy = function(service, zombie_text)
    return answer(service, "is healthy", "/isHealthy", function()
      if cache.get("zombie " .. service) then fail(500, zombie_text or "Zombie...") end
    end)
  end,

  make_zombie = function(service)
    return answer(service, "make zombie", "/makeZombie", function()
      cache.set("zombie " .. service, true)
    end)
  end,

  is_ready = function(service)
    return answer(service, "is ready", "/isReady", function() end)
  end,
}
