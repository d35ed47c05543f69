-- Confined files and process functions: io, os, dofile, loadfile, require. The host resolves and opens every path and
-- hands over a descriptor; the stock library only ever opens that descriptor.
local P = ...
local C, profile = P.C, P.profile
local stock_io, stock_os, stock_open, stock_lines, stock_close = io, os, io.open, io.lines, io.close
local host = P.host
local getmt, setmt = C.raw_metatable, C.set_raw_metatable
local type, select, error = type, select, error
local write_stream = P.write

local file_tag = getmt(stock_io.stdout)
local opaque = setmt({}, { __mode = "k" })
local opened = 0
local names = setmt({}, { __mode = "k" })
local file_type = stock_io.type
local tostr = C.tostring
P.stock_file_type = stock_io.type

local function open(path, mode)
  mode = mode or "r"
  if type(path) ~= "string" then error("bad argument #1 to 'open' (string expected, got " .. type(path) .. ")", 3) end
  if not (mode == "r" or mode == "w" or mode == "a" or mode == "rb" or mode == "wb" or mode == "ab" or mode == "r+" or mode == "w+"
      or mode == "a+" or mode == "r+b" or mode == "w+b" or mode == "a+b") then
    error("bad argument #2 to 'open' (invalid mode)", 3)
  end
  local place, failure, code = host.open_file(path, mode)
  if place == nil then return nil, failure, code end
  local file, message, number = stock_open(place, mode)
  host.opened_file(place)
  if file == nil then return nil, path .. message:sub(#place + 1), number end
  return file
end

-- Standard streams are tables with the methods of a file; what is written goes to the run's own sinks.
local stream_tag = { __name = "FILE*", __metatable = false }
stream_tag.__index = stream_tag
stream_tag.__tostring = function(s) return "file (" .. s[1] .. ")" end

local function write_all(name, ...)
  local parts = { ... }
  for i = 1, select("#", ...) do
    local kind = type(parts[i])
    if kind ~= "string" and kind ~= "number" then
      error("bad argument #" .. i .. " to 'write' (string expected, got " .. (kind == "nil" and "nil" or kind) .. ")", 3)
    end
  end
  write_stream(name, P.stock.concat(parts))
end
P.write_all = write_all

function stream_tag:write(...)
  if self[1] == "stdin" then return nil, "Bad file descriptor", 9 end
  write_all(self[1], ...)
  return self
end

local function read_input(...)
  local formats = select("#", ...) == 0 and { "l" } or { ... }
  local results = {}
  for i = 1, #formats do
    local form = formats[i]
    if type(form) == "string" then form = form:gsub("^%*", ""):sub(1, 1) end
    if form == "n" then
      local line = host.read_input("l")
      results[i] = line and tonumber(line)
    elseif form == "l" or form == "L" or form == "a" or math.type(form) == "integer" then
      results[i] = host.read_input(form)
    else
      error("bad argument #" .. i .. " to 'read' (invalid format)", 3)
    end
    if results[i] == nil then return P.stock.unpack(results, 1, i) end
  end
  return P.stock.unpack(results, 1, #formats)
end

function stream_tag:read(...)
  if self[1] ~= "stdin" then return nil, "Bad file descriptor", 9 end
  return read_input(...)
end
function stream_tag:lines(form)
  return function() return read_input(form or "l") end
end
function stream_tag:flush() return self end
function stream_tag:close() return nil, "standard streams stay open" end
function stream_tag:seek() return nil, "Illegal seek", 29 end
function stream_tag:setvbuf() return true end

local streams = {}
for _, name in P.stock.pairs { "stdin", "stdout", "stderr" } do streams[name] = setmt({ name }, stream_tag) end

local function lines(path, ...)
  if path == nil then return streams.stdin:lines(...) end
  local file, message = open(path, "r")
  if file == nil then error(message, 2) end
  local formats, n = { ... }, select("#", ...)
  return function()
    if file == nil then error("file is already closed", 2) end
    local results = P.stock.pack(file:read(P.stock.unpack(formats, 1, n)))
    if results[1] == nil then
      file:close()
      file = nil
    end
    return P.stock.unpack(results, 1, results.n)
  end, nil, nil, nil
end

local function confined_io()
  return {
    open = open, lines = lines, stdin = streams.stdin, stdout = streams.stdout, stderr = streams.stderr,
    close = function(file)
      if file == nil then return nil, "standard streams stay open" end
      return file:close()
    end,
    type = function(v)
      if getmt(v) == stream_tag then return "file" end
      return file_type(v)
    end,
    read = read_input,
    write = function(...)
      write_all("stdout", ...)
      return streams.stdout
    end,
  }
end

local function read_chunk(path)
  local source, failure, code = host.read_source(path)
  return source, failure, code
end

local function confined_loadfile(path, mode, ...)
  local source, failure = read_chunk(path)
  if source == nil then return nil, failure end
  if source:sub(1, 1) == "#" then source = "--" .. source end
  return load(source, "@" .. path, mode, ...)
end

local function confined_dofile(path)
  local chunk, failure = confined_loadfile(path)
  if chunk == nil then error(failure, 2) end
  return chunk()
end

local function confined_os(clock)
  local function checked(operation)
    return function(...)
      local ok, failure, code = operation(...)
      if ok == nil then return nil, failure, code end
      return ok
    end
  end
  return {
    clock = clock, date = stock_os.date, difftime = stock_os.difftime, time = stock_os.time,
    getenv = function(name) return host.getenv(name) end,
    exit = function(code) P.exit(code) end,
    remove = checked(function(path) return host.remove_file(path) end),
    rename = checked(function(from, to) return host.rename_file(from, to) end),
    tmpname = function() return host.temporary_name() end,
  }
end

-- os.exit ends the run from anywhere: the error passes every pcall, as an interrupt does
function P.exit(code)
  local status = 0
  if code == false then status = 1 elseif math.type(code) == "integer" then status = code % 256 end
  host.exit(status)
  error("stopped", 0)
end

local function bundled(name)
  if name == "json" then return P.proxies.JSON end
  if name == "llmspell" then return P.all_globals() end
  if name == "llmspell.test" then return P.test_module() end
  return nil
end

local function make_require(package)
  return C.front(P.stock.require, function(name)
    name = tostr(name)
    local loaded = package.loaded[name]
    if loaded ~= nil then return loaded end
    local value = bundled(name)
    if value ~= nil then
      package.loaded[name] = value
      return value
    end
    local tried = { "module '" .. name .. "' not found:" }
    local loader, origin = package.preload[name], ":preload:"
    if loader == nil then
      tried[#tried + 1] = "\n\tno field package.preload['" .. name .. "']"
      if profile ~= "safe" then
        for template in tostr(package.path):gmatch("[^;]+") do
          local file = template:gsub("%?", (name:gsub("%.", "/")))
          local chunk, failure = nil, nil
          local source = host.read_source(file, true)
          if source ~= nil then
            chunk, failure = load(source, "@" .. file)
            if chunk == nil then error("error loading module '" .. name .. "' from file '" .. file .. "':\n\t" .. failure, 3) end
            loader, origin = chunk, file
            break
          end
          tried[#tried + 1] = "\n\tno file '" .. file .. "'"
        end
      end
    end
    if loader == nil then error(P.stock.concat(tried), 3) end
    local result = loader(name, origin)
    if result ~= nil then package.loaded[name] = result end
    if package.loaded[name] == nil then package.loaded[name] = true end
    return package.loaded[name], origin
  end, "texts")
end

local coarse_clock = function() return stock_os.clock() // 0.001 / 1000 end

function P.build_files()
  rawset(file_tag, "__tostring", function(f)
    if file_type(f) == "closed file" then return "file (closed)" end
    if names[f] == nil then
      opened = opened + 1
      names[f] = "file (" .. opened .. ")"
    end
    return names[f]
  end)
  rawset(file_tag, "__metatable", false)
  local stock_package = package
  P.stock_loaded = stock_package.loaded
  package = { loaded = {}, preload = {}, config = stock_package.config }
  require = make_require(package)
  if profile == "safe" then
    io, dofile, loadfile = nil, nil, nil
    os = { clock = coarse_clock, date = stock_os.date, difftime = stock_os.difftime, time = stock_os.time }
    return
  end
  package.path = P.package_path
  if profile == "full" then
    package.cpath = ""
    package.searchers = {}
    os.exit = function(code) P.exit(code) end
    io.write = function(...)
      write_all("stdout", ...)
      return streams.stdout
    end
    io.stdout, io.stderr, io.stdin = streams.stdout, streams.stderr, streams.stdin
    io.read = read_input
    return
  end
  package.searchpath = function(name, path)
    local tried = {}
    for template in path:gmatch("[^;]+") do
      local file = template:gsub("%?", (name:gsub("%.", "/")))
      if host.read_source(file, true) ~= nil then return file end
      tried[#tried + 1] = "\n\tno file '" .. file .. "'"
    end
    return nil, P.stock.concat(tried)
  end
  io, os, dofile, loadfile = confined_io(), confined_os(stock_os.clock), confined_dofile, confined_loadfile
end
