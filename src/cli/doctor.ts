/**
 * What this machine has and lacks for varve, and how to get it. Reads only; needs no service.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, statfs } from 'node:fs/promises';
import { arch, release } from 'node:os';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { GiB } from '../base/units.ts';
import { version } from '../base/version.ts';
import type { Context } from './context.ts';
import { CommandError, exitFailed } from './errors.ts';
import { writeJson } from './output.ts';
import { table } from './table.ts';

const run = promisify(execFile);
const buildFolder = resolve(import.meta.dirname, '../../build/Release');

interface Finding {
  readonly check: string;
  /** `missing` keeps the service from working, `advice` does not. */
  readonly state: 'ok' | 'advice' | 'missing';
  readonly found: string;
  readonly action: string;
}

const kernelMin = [5, 10] as const;
const filesMin = 4096;
const freeBytesMin = GiB;

/** @throws CommandError something is missing */
export async function doctor(context: Context): Promise<void> {
  const checks = [
    node,
    kernel,
    ioUring,
    nativeAddon,
    nfs,
    iscsi,
    openFiles,
    freeSpace,
    qemu,
    nbdTools,
  ];
  const findings = await Promise.all([...checks.map((check) => check()), service(context)]);
  if (context.json) {
    writeJson(context, { api_version: '1', kind: 'DoctorReport', items: findings });
  } else {
    context.write(findingsText(context, findings));
  }
  const missing = findings.filter((finding) => finding.state === 'missing');
  if (missing.length === 0) return;
  throw new CommandError(
    'service/config',
    `${missing.length} thing(s) that varve needs are missing`,
    exitFailed,
    missing.map((finding) => finding.action),
  );
}

function findingsText(context: Context, findings: readonly Finding[]): string {
  return table<Finding>(
    [
      { title: 'CHECK', value: (finding) => finding.check },
      { title: 'STATE', value: (finding) => finding.state },
      { title: 'FOUND', value: (finding) => finding.found },
      { title: 'TRY', value: (finding) => (finding.state === 'ok' ? '' : finding.action) },
    ],
    findings,
    { wide: false, bare: !context.options.header },
  );
}

async function node(): Promise<Finding> {
  const [major = 0] = process.versions.node.split('.').map(Number);
  const found = `${process.version} ${arch()}, varve ${version}`;
  return must('node', major >= 20, found, 'install Node 20.19 or newer');
}

async function kernel(): Promise<Finding> {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const fit = major > kernelMin[0] || (major === kernelMin[0] && minor >= kernelMin[1]);
  return should('kernel', fit, release(), `use Linux ${kernelMin.join('.')} or newer`);
}

/** Absent before Linux 6.6: then nothing switches io_uring off there. */
async function ioUring(): Promise<Finding> {
  const path = '/proc/sys/kernel/io_uring_disabled';
  const value = (await readFile(path, 'utf8').catch(() => '0')).trim();
  const found = value === '0' ? 'allowed' : `kernel.io_uring_disabled=${value}`;
  const action = 'sysctl -w kernel.io_uring_disabled=0 (else the slower epoll backend serves)';
  return should('io_uring', value === '0', found, action);
}

/** Libraries it is linked to, as the loader finds them. */
async function nativeAddon(): Promise<Finding> {
  const files = await readdir(buildFolder).catch(() => []);
  const addon = files.find((name) => name.endsWith('.node'));
  if (addon === undefined) return must('addon', false, 'not built', 'npm run build');
  const { stdout } = await run('ldd', [resolve(buildFolder, addon)]).catch(() => ({ stdout: '' }));
  const absent = stdout.split('\n').filter((line) => line.includes('not found'));
  const names = absent.map((line) => line.trim().split(' ')[0]).join(' ');
  const found = absent.length === 0 ? 'built, its libraries are there' : `lacks ${names}`;
  return must('addon', absent.length === 0, found, 'npm run build (installs what it needs)');
}

/** Loaded when an NFS disk first needs it. */
function nfs(): Promise<Finding> {
  return library('nfs', 'libnfs.so.13', 'apt install libnfs13 (only for NFS disks)');
}

/** Loaded when an iSCSI disk first needs it. */
function iscsi(): Promise<Finding> {
  return library('iscsi', 'libiscsi.so.7', 'apt install libiscsi7 (only for iSCSI disks)');
}

async function library(check: string, name: string, action: string): Promise<Finding> {
  const loader = { env: { ...process.env, PATH: `${process.env.PATH}:/sbin:/usr/sbin` } };
  const { stdout } = await run('ldconfig', ['-p'], loader).catch(() => ({ stdout: '' }));
  const found = stdout.includes(name);
  return should(check, found, found ? name : 'not installed', action);
}

async function openFiles(): Promise<Finding> {
  const limits = await readFile('/proc/self/limits', 'utf8');
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1] ?? 'unknown';
  const fit = soft === 'unlimited' || Number(soft) >= filesMin;
  return should('open files', fit, soft, `ulimit -n ${filesMin}, or LimitNOFILE= in the unit`);
}

async function freeSpace(): Promise<Finding> {
  const { bavail, bsize } = await statfs('.');
  const free = bavail * bsize;
  const found = `${(free / GiB).toFixed(1)} GiB here`;
  return should('free space', free >= freeBytesMin, found, 'choose a folder with more space');
}

async function qemu(): Promise<Finding> {
  const { stdout } = await run('qemu-system-x86_64', ['--version']).catch(() => ({ stdout: '' }));
  const text = /version (\d+)\.(\d+)/.exec(stdout);
  if (text === null) return should('qemu', false, 'not installed', 'apt install qemu-system-x86');
  const fit = Number(text[1]) >= 7;
  return should('qemu', fit, `${text[1]}.${text[2]}`, 'use QEMU 7.0 or newer (open-timeout)');
}

async function nbdTools(): Promise<Finding> {
  const found = await run('nbdinfo', ['--version']).then(
    ({ stdout }) => stdout.trim().split('\n')[0] ?? '',
    () => '',
  );
  const action = 'apt install libnbd-bin (nbdinfo, nbdcopy)';
  return should('nbd tools', found !== '', found === '' ? 'not installed' : found, action);
}

async function service(context: Context): Promise<Finding> {
  const found = await context.client.call('/v1/status').then(
    () => `answers at ${context.server}`,
    () => '',
  );
  const action = 'systemctl start varve, or varve serve --state DIR';
  return should(
    'service',
    found !== '',
    found === '' ? `none at ${context.server}` : found,
    action,
  );
}

function must(check: string, fit: boolean, found: string, action: string): Finding {
  return { check, state: fit ? 'ok' : 'missing', found, action };
}

function should(check: string, fit: boolean, found: string, action: string): Finding {
  return { check, state: fit ? 'ok' : 'advice', found, action };
}
