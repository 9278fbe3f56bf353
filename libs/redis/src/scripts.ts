/** What Redis does in one atomic step: the Lua scripts. */
import { createHash } from 'node:crypto';

/** A script, and the name by which Redis knows it once it was loaded. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

function script(source: string): Script {
  const trimmed = source.replace(/^ {2}/gm, '').trim();
  return { source: trimmed, sha: createHash('sha1').update(trimmed).digest('hex') };
}

/** What a script answers when the index is gone: nothing was written, the log space must be opened anew. */
export const LOST = 'LOST';

const ORDER = `
  local function parts(id)
    local ms, seq = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(seq)
  end
  local function before(a, b)
    local ams, aseq = parts(a)
    local bms, bseq = parts(b)
    return ams < bms or (ams == bms and aseq < bseq)
  end
`;

const appendSource = (idempotent: boolean): string => `
  ${idempotent ? "local made = redis.call('GET', KEYS[4])\n  if made then return made end" : ''}
  local id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[7], '*', 't', ARGV[1], 'k', ARGV[2])
  if not id then return '${LOST}' end
  if ARGV[12] ~= '' then
    ${ORDER}
    if before(id, ARGV[12]) then
      redis.call('XDEL', KEYS[1], id)
      id = redis.call('XADD', KEYS[1], ARGV[12], 't', ARGV[1], 'k', ARGV[2])
    end
  end
  local head = redis.call('GET', KEYS[2])
  local prev, bytes, expiry = '-', 0, 0
  if head then
    prev, bytes, expiry = string.match(head, '^(%S+) (%d+) (%d+)')
  elseif redis.call('EXISTS', KEYS[3]) == 1 then
    prev = '?'
  end
  if ARGV[9] == '0' then
    redis.call('DEL', KEYS[3])
    bytes, expiry = 0, 0
  else
    redis.call('XADD', KEYS[3], 'MAXLEN', '=', ARGV[9], id, 'p', prev, 'r', ARGV[3])
    bytes = bytes + #ARGV[3]
    local most = tonumber(ARGV[11])
    if bytes > most then
      local all = redis.call('XREVRANGE', KEYS[3], '+', '-')
      bytes = 0
      for _, entry in ipairs(all) do bytes = bytes + #entry[2][4] end
      if bytes > most * 0.875 then
        local oldest
        bytes = 0
        for n, entry in ipairs(all) do
          local size = #entry[2][4]
          if bytes + size > (n == 1 and most or most * 0.75) then break end
          bytes = bytes + size
          oldest = entry[1]
        end
        if oldest then redis.call('XTRIM', KEYS[3], 'MINID', oldest) else redis.call('DEL', KEYS[3]) end
      end
    end
    local ms, age = tonumber(string.match(id, '^%d+')), tonumber(ARGV[10])
    if tonumber(expiry) < ms + age then
      expiry = string.format('%.0f', math.min(ms + age + math.min(age / 8, 3600000), 9000000000000000))
      redis.call('PEXPIREAT', KEYS[3], expiry)
      if ms > age then redis.call('XTRIM', KEYS[3], 'MINID', '~', string.format('%.0f', ms - age)) end
    end
  end
  redis.call('SET', KEYS[2], id .. ' ' .. bytes .. ' ' .. expiry .. ' ' .. ARGV[10], 'PX', ARGV[8])
  ${idempotent ? "redis.call('SET', KEYS[4], id, 'EX', 600)" : ''}
  local record = id .. '\\n' .. prev .. '\\n' .. ARGV[1] .. '\\n' .. ARGV[3]
  redis.call(ARGV[6], ARGV[4], record)
  redis.call(ARGV[6], ARGV[5], record)
  return id
`;

/**
 * Appends a record: its place in the index, the link to the topic's record before it, the log, and the nodes that follow.
 *
 * The head is `<id> <bytes> <expiry> <maxAgeMs>`: the topic's last record; an upper bound of the bytes in its log, measured again only
 * when it passes `maxBytes`; when the log expires, in milliseconds since 1970, moved on only every so often. A record's field `p` is
 * the id of the record before it; `-` where Redis knows of none; `?` where there is a log without a head, so that nobody can say.
 *
 * KEYS: index, head, log. ARGV: topic, token, payload, channel of the topic, channel of filters, publish command, index length, life
 * of the head, maxEvents, maxAgeMs, maxBytes, and with several partitions the least id that comes after what this process has seen of the
 * others, so that what is appended later lies later, whichever server's clock is behind.
 */
export const APPEND = script(appendSource(false));
/** The same under an idempotency key, the fourth of KEYS. */
export const APPEND_ONCE = script(appendSource(true));

/**
 * Tells the epoch of the log space, after giving it this one where it has none.
 * KEYS: floor. ARGV: epoch.
 */
export const EPOCH = script(`
  local floor = redis.call('GET', KEYS[1])
  if floor then return string.match(floor, '^%S+') end
  local time = redis.call('TIME')
  local ms = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. string.format('%.0f', ms) .. '-0')
  return ARGV[1]
`);

/**
 * Opens a partition under an epoch: pins its clock, so that no id up to a given one is used again, and where the index or the floor is
 * gone, or of another epoch, moves the floor: readers from before it are told `reset`.
 * KEYS: floor, index. ARGV: epoch, the id that the clock must have passed, channel of filters, publish command.
 * Answers the floor and the last id.
 */
export const OPEN = script(`
  ${ORDER}
  local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
  local floor = redis.call('GET', KEYS[1])
  local epoch, first
  if floor then epoch, first = string.match(floor, '^(%S+) (%S+)$') end
  local pin = ARGV[2]
  if last then
    last = last[1]
    if not before(last, pin) then pin = nil end
  end
  if pin then
    -- Past it, and not at it: the index goes on to say that nothing has this place, so that whoever stands there has lost something.
    local ms, seq = string.match(pin, '^(%d+)-(%d+)$')
    pin = ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
  end
  if epoch ~= ARGV[1] or not last then
    local time = redis.call('TIME')
    local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)) .. '-0'
    first = pin or last
    if before(first, now) then
      first = now
      pin = now
    end
    redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. first)
  end
  if pin then
    redis.call('XADD', KEYS[2], pin, 't', '', 'k', '')
    last = pin
  end
  redis.call(ARGV[4], ARGV[3], last)
  return { first, last }
`);

/** How many records after a lost one are searched for a mark. */
const MARK_SEARCHED = 1_000;

/**
 * Looks whether a topic's log has lost a record that a node was given, and marks it at its end if nobody did before. Lost it is when
 * what follows it in the log names an earlier one as its predecessor, or when nothing follows and the head is an earlier one; whatever was
 * appended meanwhile. A mark is a record without a payload.
 * KEYS: index, head, log. ARGV: topic, id of the record that was given, channel of the topic, channel of filters, publish command, life of
 * the head. Answers the mark's id; nothing where none was needed.
 */
export const MARK = script(`
  ${ORDER}
  local given = ARGV[2]
  local head = redis.call('GET', KEYS[2])
  local prev, rest = '-', ' 0 0 0'
  if head then prev, rest = string.match(head, '^(%S+)(.*)$') end
  local next = redis.call('XRANGE', KEYS[3], '(' .. given, '+', 'COUNT', 1)[1]
  if next then
    local follows
    for i = 1, #next[2], 2 do if next[2][i] == 'p' then follows = next[2][i + 1] end end
    if follows == '?' or (follows ~= '-' and not before(follows, given)) then return false end
    for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '(' .. given, '+', 'COUNT', ${MARK_SEARCHED})) do
      for i = 1, #entry[2], 2 do if entry[2][i] == 'r' and entry[2][i + 1] == '' then return false end end
    end
  elseif head and not before(prev, given) then return false end
  local id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', 't', ARGV[1], 'k', '')
  if not id then return '${LOST}' end
  redis.call('XADD', KEYS[3], id, 'p', prev, 'r', '')
  if redis.call('PTTL', KEYS[3]) < 0 then redis.call('PEXPIRE', KEYS[3], ARGV[6]) end
  redis.call('SET', KEYS[2], id .. rest, 'PX', ARGV[6])
  local record = id .. '\\n' .. prev .. '\\n' .. ARGV[1] .. '\\n'
  redis.call(ARGV[5], ARGV[3], record)
  redis.call(ARGV[5], ARGV[4], record)
  return id
`);

export const SCRIPTS: readonly Script[] = [APPEND, APPEND_ONCE, EPOCH, OPEN, MARK];
