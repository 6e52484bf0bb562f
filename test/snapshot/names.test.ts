// Goal: VOLUME@SNAPSHOT is read and written as people mean it; anything else is refused before it can name the wrong thing.
// Method: names by the rule of cli.md, back and forth; examples of what is none.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatSnapshotName, parseSnapshotName } from '../../src/snapshot/names.ts';

const name = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,62}$/);

test('what is written is read again', () => {
  fc.assert(
    fc.property(name, name, (volume, snapshot) => {
      const text = formatSnapshotName({ volume, snapshot });
      expect(text).toBe(`${volume}@${snapshot}`);
      expect(parseSnapshotName(text)).toEqual({ volume, snapshot });
    }),
  );
});

test.each([
  ['web1', /names a volume, not a snapshot/],
  ['', /names a volume/],
  ['@monday', /volume/],
  ['web1@', /snapshot/],
  ['web1@monday@noon', /snapshot/],
  ['web 1@monday', /volume/],
  ['web1@Monday', /snapshot/],
  ['web1@../etc', /snapshot/],
  [`${'v'.repeat(64)}@s`, /volume/],
  [`v@${'s'.repeat(64)}`, /snapshot/],
])('%j is refused', (text, message) => {
  expect(() => parseSnapshotName(text)).toThrow(
    expect.objectContaining({ code: 'request/invalid', message: expect.stringMatching(message) }),
  );
});
