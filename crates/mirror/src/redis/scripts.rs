//! The scripts that Redis runs.
//!
//! For: reading and writing a key together with its mark. Not for: what is decided from that.
//! Invariant: a script writes nothing where its token is not the one that is noted, nor where the key has changed.

/// Makes a token the current one. Keys: the companion. Arguments: the token. 0 where a larger one is there.
pub(super) const CLAIM: &str = r"
local now = redis.call('HGET', KEYS[1], '')
if now and tonumber(now) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], '', ARGV[1])
return 1
";

/// Reads keys with their marks. Keys: the companion, and the keys. Arguments: the largest size, and the fields of the keys.
/// For each: what it is (0 nothing, 1 a string, 2 a string that is too large, 3 another type), the text or the type, the
/// time that is left in milliseconds or the size, and the mark.
pub(super) const READ: &str = r"
local answer = {}
for i = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  local mark = redis.call('HGET', KEYS[1], ARGV[i]) or ''
  if kind == 'none' then
    answer[#answer + 1] = {0, '', -1, mark}
  elseif kind ~= 'string' then
    answer[#answer + 1] = {3, kind, -1, mark}
  else
    local size = redis.call('STRLEN', KEYS[i])
    if size > tonumber(ARGV[1]) then
      answer[#answer + 1] = {2, '', size, mark}
    else
      answer[#answer + 1] = {1, redis.call('GET', KEYS[i]), redis.call('PTTL', KEYS[i]), mark}
    end
  end
end
return answer
";

/// Writes a key with its mark. Keys: the key, and the companion. Arguments: the token, the field, whether the key had a
/// text, that text, what is done, the new text, its time in milliseconds or 0, and the new mark or nothing.
pub(super) const WRITE: &str = r"
local token = redis.call('HGET', KEYS[2], '')
if not token then return 'forgotten' end
if token ~= ARGV[1] then return 'fenced' end
if ARGV[5] ~= 'keep' then
  local kind = redis.call('TYPE', KEYS[1]).ok
  if kind ~= 'none' and kind ~= 'string' then return 'moved' end
  local now = redis.call('GET', KEYS[1])
  if ARGV[3] == '1' then
    if now ~= ARGV[4] then return 'moved' end
  elseif now then
    return 'moved'
  end
  if ARGV[5] == 'delete' then
    redis.call('DEL', KEYS[1])
  elseif ARGV[7] ~= '0' then
    redis.call('SET', KEYS[1], ARGV[6], 'PX', ARGV[7])
  else
    redis.call('SET', KEYS[1], ARGV[6])
  end
end
if ARGV[8] == '' then redis.call('HDEL', KEYS[2], ARGV[2]) else redis.call('HSET', KEYS[2], ARGV[2], ARGV[8]) end
return 'done'
";
