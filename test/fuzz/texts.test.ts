// Goal: whatever is typed, or comes in a body, is understood or refused in a sentence: no other error, no secret told, and what is understood can be
//   written down and read again.
// Method: random texts, and texts grown from the grammars with parts of them spoiled.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseSettings } from '../../src/api/config.ts';
import { StorageError } from '../../src/base/errors.ts';
import { formatSize, parseRate, parseSize } from '../../src/base/size.ts';
import { isWholeText } from '../../src/base/text.ts';
import { withSecret } from '../../src/cli/disk-secret.ts';
import { formatDuration, parseDuration, parseSince } from '../../src/cli/duration.ts';
import { CommandError } from '../../src/cli/errors.ts';
import { snapshotTarget, volumeTarget } from '../../src/cli/targets.ts';
import { formatAddress, nbdUri, parseAddress } from '../../src/export/address.ts';
import { parseDiskUri } from '../../src/pool/disk-uri.ts';
import { parsePortal } from '../../src/pool/iscsi-uri.ts';
import { parseNfsPlace } from '../../src/pool/nfs-uri.ts';
import { AgentLines } from '../../src/snapshot/agent-lines.ts';
import { runs } from './runs.ts';

/** Any text, lone surrogates among it: JSON carries them, and so may an argument. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ maxLength: 40 }),
  fc.constantFrom('', '\ud800', '%', '%ff', '\0', '..', '//', '[::1]', '?size=1GiB', '@', '%2F'),
);
const spoiled = (...parts: fc.Arbitrary<string>[]) =>
  fc
    .tuple(...parts.map((part) => fc.oneof({ weight: 6, arbitrary: part }, anyText)))
    .map((all) => all.join(''));

const digits = fc.oneof(
  fc.nat().map(String),
  fc.string({ unit: fc.constantFrom('0', '9', '.'), maxLength: 400 }),
);
const path = spoiled(
  fc.constantFrom('/', '//', ''),
  anyText,
  fc.constantFrom('', '/a', '/../b', '/./c'),
);
const query = spoiled(
  fc.constantFrom('', '?', '&'),
  fc.constantFrom('', 'size=1GiB', 'version=4', 'nfsport=1', 'mountport=2&', 'size=%31'),
);
const host = fc.constantFrom('h', '10.0.0.1', '[::1]', 'h:3260', 'a,b:1', 'H.example');
const uri = fc.oneof(
  anyText,
  spoiled(path, query),
  spoiled(fc.constantFrom('file:', 'block:', 'FILE:'), path, query),
  spoiled(fc.constant('nfs://'), host, path, query),
  spoiled(
    fc.constant('iscsi://'),
    fc.constantFrom('', 'u%geheim@', 'u@'),
    host,
    fc.constant('/iqn.2026-01.x:a/'),
    digits,
  ),
);

/** What was understood, or undefined when it was refused as it should be. */
function understood<T>(parse: () => T, text = ''): T | undefined {
  try {
    return parse();
  } catch (error) {
    const isOurs = error instanceof StorageError || error instanceof CommandError;
    if (!isOurs) throw error;
    expect(error.code).toMatch(/^(request\/invalid|service\/config|export\/listen)$/);
    // Without its scheme nobody knows that it holds a password.
    if (/^iscsi:/i.test(text)) expect(error.message).not.toContain('geheim');
    return undefined;
  }
}

test('disk URIs name one disk in one way', () => {
  fc.assert(
    fc.property(uri, (text) => {
      const found = understood(() => parseDiskUri(text), text);
      if (found === undefined) return;
      if (found.kind === 'iscsi') expect(found.normalized).not.toContain('geheim');
      const again = parseDiskUri(found.normalized);
      expect([again.kind, again.path, again.normalized]).toEqual([
        found.kind,
        found.path,
        found.normalized,
      ]);
    }),
    runs(3000),
  );
});

test('portals, places on NFS servers, and URIs with a secret', () => {
  fc.assert(
    fc.property(uri, anyText, (text, other) => {
      understood(() => parsePortal(text, other));
      understood(() => parseNfsPlace(text));
      expect(typeof withSecret(text, other)).toBe('string');
    }),
    runs(2000),
  );
});

test('sizes and rates are whole numbers of bytes, and are read again as they are written', () => {
  const unit = fc.constantFrom('', 'B', 'k', 'KiB', 'MB', 'GiB', 'T', 'PB', '/s', 'ib');
  fc.assert(
    fc.property(spoiled(digits, unit), (text) => {
      understood(() => parseRate(text));
      const bytes = understood(() => parseSize(text));
      if (bytes === undefined) return;
      expect(Number.isSafeInteger(bytes) && bytes > 0).toBe(true);
      expect(parseSize(String(bytes))).toBe(bytes);
      expect(formatSize(bytes)).toMatch(/^[\d.e+]+([KMGTP]i)?B$/);
    }),
    runs(2000),
  );
});

test('durations and points in time are numbers that time knows', () => {
  const unit = fc.constantFrom('', 'ms', 's', 'm', 'h', 'd', 'x');
  fc.assert(
    fc.property(spoiled(digits, unit), (text) => {
      const ms = understood(() => parseDuration(text));
      if (ms !== undefined) {
        expect(Number.isFinite(ms) && ms >= 0).toBe(true);
        expect(formatDuration(ms)).not.toContain('NaN');
      }
      const since = understood(() => parseSince(text, 1_800_000_000_000));
      if (since !== undefined) expect(Date.parse(since)).not.toBeNaN();
    }),
    runs(2000),
  );
});

test('listening addresses are read again as they are written', () => {
  const address = fc.oneof(
    anyText,
    spoiled(fc.constant('unix:'), path),
    spoiled(fc.constant('tcp:'), host, fc.constant(':'), digits),
  );
  fc.assert(
    fc.property(address, anyText, (text, name) => {
      const found = understood(() => parseAddress(text));
      if (found === undefined) return;
      expect(parseAddress(formatAddress(found))).toEqual(found);
      if (isWholeText(name)) expect(nbdUri(found, name)).toMatch(/^nbd(\+unix)?:\/\//);
    }),
    runs(2000),
  );
});

test('names of volumes and snapshots', () => {
  fc.assert(
    fc.property(spoiled(anyText, fc.constant('@'), anyText), (text) => {
      const snapshot = understood(() => snapshotTarget(text));
      const volume = understood(() => volumeTarget(text));
      expect(snapshot !== undefined && volume !== undefined).toBe(false);
    }),
    runs(1000),
  );
});

test('the configuration file', () => {
  const value = fc.oneof(
    fc.constantFrom(
      '1',
      '"10MiB"',
      'true',
      '[1]',
      '{a=1}',
      '1e400',
      '-1',
      '"debug"',
      'nan',
      '2026-01-01',
      '"',
      "'''",
    ),
    anyText,
  );
  const key = fc.constantFrom(
    'state',
    'loops',
    'log_level',
    'buffer_memory',
    'flush_window_ms',
    '__proto__',
    'constructor',
    'a.b',
    '[x]',
  );
  const line = spoiled(key, fc.constant(' = '), value, fc.constant('\n'));
  fc.assert(
    fc.property(fc.array(line, { maxLength: 5 }), (lines) => {
      understood(() => parseSettings('varve.toml', lines.join('')));
    }),
    runs(2000),
  );
});

test("a guest agent's stream, however it is cut", () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc
      .constantFrom('{"return":{}}\n', '\xff', '[1]\n', 'null\n', '{"error":')
      .map((text) => Buffer.from(text, 'latin1')),
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 12 }),
      fc.integer({ min: 1, max: 9 }),
      (pieces, step) => {
        const whole = Buffer.concat(pieces);
        const atOnce = new AgentLines().push(whole);
        const lines = new AgentLines();
        const inSteps = [];
        for (let at = 0; at < whole.length; at += step)
          inSteps.push(...lines.push(whole.subarray(at, at + step)));
        expect(inSteps).toEqual(atOnce);
      },
    ),
    runs(1000),
  );
});
