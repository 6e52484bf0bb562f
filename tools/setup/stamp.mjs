/**
 * Stamps: a step is repeated only when what it reads has changed or what it makes is gone.
 *
 * A stamp is a file with the SHA-256 of the step's inputs (names and contents), written
 * after the step succeeded. An interrupted step leaves the old stamp and is therefore done again.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** All files below the given files and folders that `wanted` accepts, sorted. */
export function filesBelow(paths, wanted = () => true) {
  const files = paths.flatMap((path) => {
    if (!existsSync(path)) return [];
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  });
  return files.filter(wanted).sort();
}

function fingerprint(files, extra) {
  const hash = createHash('sha256').update(extra);
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(file));
  return hash.digest('hex');
}

/**
 * Runs `action` unless it succeeded before on the same inputs and all `outputs` still exist.
 *
 * @param step.extra whatever else the result depends on, e.g. the version of Node
 * @returns whether the action ran
 */
export function whenChanged(step, action) {
  const now = fingerprint(step.inputs, step.extra ?? '');
  const made = step.outputs.every((path) => existsSync(path));
  const before = existsSync(step.stamp) ? readFileSync(step.stamp, 'utf8') : undefined;
  if (made && before === now) return false;
  action();
  mkdirSync(dirname(step.stamp), { recursive: true });
  writeFileSync(step.stamp, now);
  return true;
}
