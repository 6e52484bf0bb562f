// Goal: scripts rely on every noun, verb, argument and option: none changes unseen.
// Method: walk the program and pin what it admits; lines that make no sense end with 2 and a hint.
import { execFileSync } from 'node:child_process';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { buildProgram } from '../../src/cli/program.ts';
import { runCaptured } from './capture.ts';

function grammar(command: Command, path: string): string[] {
  const args = command.registeredArguments.map((argument) => {
    const name = argument.variadic ? `${argument.name()}...` : argument.name();
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  const options = command.options.map((option) => `[${option.flags}]`);
  const aliases = command.aliases().map((alias) => `(${alias})`);
  const line = [path, ...aliases, ...args, ...options].join(' ');
  const below = command.commands.flatMap((child) => grammar(child, `${path} ${child.name()}`));
  return [line, ...below];
}

test('the grammar is what cli.md says', () => {
  expect(grammar(buildProgram(), 'varve').join('\n')).toMatchSnapshot();
});

test('every command explains itself', () => {
  const silent = (command: Command): string[] => [
    ...(command.description() === '' ? [command.name()] : []),
    ...command.commands.flatMap(silent),
  ];
  expect(silent(buildProgram())).toEqual([]);
});

test.each([
  [['volum', 'list'], 'did you mean volume?'],
  [['pool', 'crate', 'x', '/d'], 'did you mean create?'],
  [['volume', 'list', '--jsn'], 'varve help'],
  [['snapshot', 'create', 'v'], 'VOLUME@SNAPSHOT'],
  [['snapshot', 'create', 'v@s', 'w'], 'VOLUME@SNAPSHOT'],
  [['snapshot', 'delete', 'v@s'], 'not confirmed'],
  [['snapshot', 'delete', '-y', 'v'], 'VOLUME@SNAPSHOT'],
  [['snapshot', 'list', 'v@s'], 'names a snapshot'],
  [['snapshot', 'create', 'v@s', '--label', 'x'], 'KEY=VALUE'],
  [['snapshot', 'create', 'v@s', '--attach', '/nowhere'], 'cannot attach'],
  [['snapshot', 'diff', 'v@a', 'w@b'], 'not of one volume'],
  [['snapshot', 'schedule', 'v', '--keep-last', 'all'], 'no number of snapshots'],
  [['snapshot', 'schedule'], 'which volume?'],
  [['volume', 'delete', '-y', 'v@s'], 'names a snapshot'],
  [['volume', 'clone', 'v', 'c'], 'VOLUME@SNAPSHOT'],
  [['volume', 'revert', '-y', 'v'], 'VOLUME@SNAPSHOT'],
  [['volume', 'revert', 'v@s', '--discard'], 'not confirmed'],
  [['volume', 'revert', 'v@s', '--discard', '--force'], 'not confirmed'],
  [['volume', 'set-mode', 'v', 'fast'], 'no mode'],
  [['volume', 'create', 'x'], '--size'],
  [['volume', 'create', 'x', '--size', '0'], 'more than zero'],
  [['volume', 'create', 'x', '--size', '-5'], 'not a size'],
  [['volume', 'create', 'x', '--size', '10QB'], 'not a size'],
  [['pool', 'list', 'extra'], 'too many arguments'],
  [['pool', 'list', '-o', 'xml'], 'table, wide, json, name'],
  [['--server', 'ftp://x', 'pool', 'list'], 'no address of a service'],
  [['--timeout', 'soon', 'pool', 'list'], 'no duration'],
  [['events', '--since', 'yesterday'], 'no point in time'],
  [['volume', 'delete', 'gold'], 'not confirmed'],
  [['pool', 'delete', 'main'], 'not confirmed'],
  [['pool', 'check', 'a', 'b'], 'one pool is checked at a time'],
] as const)('%j ends with 2 and says %s', async (argv, message) => {
  const { exit, stdout, stderr } = await runCaptured('unix:/nowhere', ...argv);
  expect({ exit, stdout }).toEqual({ exit: 2, stdout: '' });
  expect(stderr).toContain(message);
  expect(stderr).toMatch(/^error: .*\n( {2}try: {3}.*\n)*( {2}code: {2}\S+\n)$/);
});

test('a noun alone shows its verbs and ends with 2', async () => {
  const { exit, stderr } = await runCaptured('unix:/nowhere', 'pool');
  expect(exit).toBe(2);
  expect(stderr).toContain('create [options] <name> <disk-uri...>');
});

test.each([['--help'], ['pool', '--help'], ['--version']])('%s ends with 0', async (...argv) => {
  expect((await runCaptured('unix:/nowhere', ...argv)).exit).toBe(0);
});

test('without a service the command ends with 20 and says what to do', async () => {
  const { exit, stderr } = await runCaptured('unix:/nowhere/varve.sock', 'pool', 'list');
  expect(exit).toBe(20);
  expect(stderr).toBe(
    'error: no service answers at unix:/nowhere/varve.sock (ENOENT)\n' +
      '  try:   systemctl start varve, or varve serve --state DIR\n' +
      '  try:   name another address with --server unix:PATH or VARVE_SERVER\n' +
      '  code:  service/unreachable\n',
  );
});

test.each(['bash', 'zsh', 'fish'])(
  'completion for %s names nouns, verbs and options',
  async (shell) => {
    const { exit, stdout } = await runCaptured('unix:/nowhere', 'completion', shell);
    expect(exit).toBe(0);
    for (const word of ['volume', 'create', 'size', 'output']) expect(stdout).toContain(word);
  },
);

test.each([
  [[''], ['pool', 'snapshot'], ['create']],
  [['snapshot', ''], ['create', 'schedule'], ['remove']],
  [['snapshot', 'schedule', ''], ['list', 'remove', '--keep-daily'], ['create']],
  [['snapshot', 'schedule', 'list', '-'], ['--output'], ['--keep-daily']],
  [['volume', 'delete', '--with'], ['--with-snapshots'], ['--keep-clones']],
])('bash completes %j with %j, not with %j', async (words, wanted, others) => {
  const { stdout } = await runCaptured('unix:/nowhere', 'completion', 'bash');
  const typed = ['varve', ...words].map((word) => `'${word}'`).join(' ');
  const ask = `COMP_WORDS=(${typed}); COMP_CWORD=${words.length}; _varve; echo "\${COMPREPLY[*]}"`;
  const reply = execFileSync('bash', ['-c', `${stdout}\n${ask}`], { encoding: 'utf8' });
  const offered = reply.trim().split(' ');
  expect(offered).toEqual(expect.arrayContaining(wanted));
  for (const other of others) expect(offered).not.toContain(other);
});
