// Goal: `npm ci` works from package-lock.json on every machine.
// Method: every optional dependency that a package names (its binaries for other platforms) has an entry; npm
//   forgets those that its registry does not carry, and later refuses the lock file for it.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

interface LockedPackage {
  readonly optionalDependencies?: Record<string, string>;
}

test('the lock file has every platform', () => {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Record<string, LockedPackage>;
  };
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter(
        (name) => !packages[`node_modules/${name}`] && !packages[`${path}/node_modules/${name}`],
      )
      .map((name) => `${path} → ${name}`),
  );
  expect(missing).toEqual([]);
});
