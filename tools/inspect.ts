/**
 * Format inspector: prints what is on a pool's disks, structure by structure (docs/format.md).
 *
 *   npx tsx tools/inspect.ts label DISK...        both copies of each disk's label
 *   npx tsx tools/inspect.ts journal DISK         records from the tail on, and why they end
 *   npx tsx tools/inspect.ts checkpoint DISK      entries of the checkpoint
 *   npx tsx tools/inspect.ts check DISK...        the offline check
 *
 * Only reads. Exit status: 0 printed, 1 unreadable, 2 usage, 7 damage found.
 */

import type { FileHandle } from 'node:fs/promises';
import { checkOffline } from '../src/pool/check/check-offline.ts';
import { decodeBatch } from '../src/pool/format/batch.ts';
import { readCheckpoint } from '../src/pool/format/checkpoint-codec.ts';
import { forEachDelta } from '../src/pool/format/delta.ts';
import { labelBytes } from '../src/pool/format/geometry.ts';
import { parseIndexKey } from '../src/pool/format/index-keys.ts';
import {
  decodeDeltasPayload,
  type JournalRecord,
  recordKind,
  scanJournal,
} from '../src/pool/format/journal-record.ts';
import { decodeLabel, newestLabel } from '../src/pool/format/label.ts';
import { leafEntries, leafSeals } from '../src/pool/format/leaf.ts';
import { slotCluster, slotDisk, slotHasAddress, slotMask } from '../src/pool/format/slot.ts';
import { openForReading, readAt } from '../src/pool/probe.ts';

const print = (line: string) => process.stdout.write(`${line}\n`);

function toJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_, field) => (typeof field === 'bigint' ? `0x${field.toString(16)}` : field),
    2,
  );
}

function describeState(hi: number, lo: number): string {
  const mask = slotMask(lo).toString(2).padStart(16, '0');
  return slotHasAddress(hi, lo)
    ? `${slotDisk(hi)}:${slotCluster(hi, lo)} mask ${mask}`
    : `mask ${mask}`;
}

async function printLabels(handle: FileHandle, path: string): Promise<void> {
  for (const [index, name] of ['A', 'B'].entries()) {
    const bytes = await readAt(handle, index * labelBytes, labelBytes);
    try {
      print(`${path} copy ${name}: ${toJson(decodeLabel(bytes))}`);
    } catch (error) {
      print(`${path} copy ${name}: ${(error as Error).message}`);
    }
  }
}

async function readLabel(handle: FileHandle) {
  const head = await readAt(handle, 0, 2 * labelBytes);
  return newestLabel(head.subarray(0, labelBytes), head.subarray(labelBytes));
}

function printDeltas(payload: Uint8Array): void {
  const { firstSerial, deltas } = decodeDeltasPayload(payload);
  // First serial 0: none of them counts.
  let serial = firstSerial === 0 ? undefined : firstSerial;
  forEachDelta(deltas, ({ layer, slot, stateHi, stateLo, releasedHi, releasedLo }) => {
    const released = slotHasAddress(releasedHi, releasedLo)
      ? `, releases ${slotDisk(releasedHi)}:${slotCluster(releasedHi, releasedLo)}`
      : '';
    print(
      `  ${serial ?? '-'} layer ${layer} slot ${slot} → ${describeState(stateHi, stateLo)}${released}`,
    );
    if (serial !== undefined) serial += 1;
  });
}

function printBatch(payload: Uint8Array): void {
  for (const op of decodeBatch(payload)) {
    if (op.op === 'put') print(`  put ${describeEntry(op.key, op.value)}`);
    else if (op.op === 'delete') print(`  delete ${describeKey(op.key)}`);
    else print(`  ${JSON.stringify(op)}`);
  }
}

function printRecord(record: JournalRecord): void {
  const { sequence, position, epoch, payload } = record;
  print(`record ${sequence} at ${position}, epoch ${epoch}, ${payload.length} bytes`);
  if (record.kind === recordKind.deltas) printDeltas(payload);
  else printBatch(payload);
}

async function printJournal(handle: FileHandle): Promise<void> {
  const read = (offset: number, length: number) => readAt(handle, offset, length);
  const records = scanJournal(read, await readLabel(handle), ({ position, sequence, message }) =>
    print(`end: record ${sequence} would be at ${position}; there: ${message}`),
  );
  for await (const record of records) printRecord(record);
}

function describeKey(key: Uint8Array): string {
  const parsed = parseIndexKey(key);
  if (parsed.kind === 'leaf') return `layer ${parsed.layer} leaf ${parsed.leaf}`;
  if (parsed.kind === 'allocator') return `disk ${parsed.disk} chunk ${parsed.chunk}`;
  return parsed.name;
}

function describeEntry(key: Uint8Array, value: Uint8Array): string {
  const { kind } = parseIndexKey(key);
  const name = describeKey(key);
  if (kind === 'record') return `${name}: ${Buffer.from(value).toString('utf8')}`;
  if (kind !== 'leaf') return `${name}: ${value.length} bytes`;
  const slots = leafEntries(value).map(({ slot, hi, lo }) => `${slot} → ${describeState(hi, lo)}`);
  const seals = leafSeals(value).map(
    ({ slot, hi, lo, hashHi, hashLo }) =>
      `${slot} sealed: ${describeState(hi, lo)} is ${hex(hashHi)}${hex(hashLo)}`,
  );
  return [`${name}:`, ...slots, ...seals].join('\n    ');
}

function hex(word: number): string {
  return word.toString(16).padStart(8, '0');
}

async function printCheckpoint(handle: FileHandle): Promise<void> {
  const read = (offset: number, length: number) => readAt(handle, offset, length);
  for await (const { key, value } of readCheckpoint(read, await readLabel(handle))) {
    print(describeEntry(key, value));
  }
}

async function printCheck(paths: readonly string[]): Promise<void> {
  const report = await checkOffline(paths);
  print(toJson(report));
  if (report.findings.some(({ severity }) => severity === 'damage')) process.exitCode = 7;
}

const printers = { label: printLabels, journal: printJournal, checkpoint: printCheckpoint };

async function main([verb = '', ...paths]: readonly string[]): Promise<void> {
  if (verb === 'check') return printCheck(paths);
  if (!Object.hasOwn(printers, verb) || paths.length === 0) {
    process.stderr.write('usage: inspect.ts label|journal|checkpoint|check DISK...\n');
    process.exitCode = 2;
    return;
  }
  for (const path of paths) {
    const handle = await openForReading(path);
    try {
      await printers[verb as keyof typeof printers](handle, path);
    } finally {
      await handle.close();
    }
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`error: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
