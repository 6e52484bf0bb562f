/**
 * Verbs about the service as a whole: serve, quickstart, demo, doctor, status, events, completion.
 */
import { Argument, type Command } from 'commander';
import type { ServeOptions } from '../../api/config.ts';
import { completionScript, type Shell } from '../completion.ts';
import type { Context } from '../context.ts';
import { serveDetached, tellStarter } from '../detach.ts';
import { writeEvents } from '../events.ts';
import { watchStatus, writeStatus } from '../status.ts';
import { does } from '../verb.ts';

export function addServiceVerbs(program: Command): void {
  program
    .command('serve')
    .description('the service, in the foreground')
    .option('--state <dir>', 'state folder (default: /var/lib/varve)')
    .option('--socket <path>', 'REST socket (default: varve.sock in --state, else /run/varve)')
    .option('--config <file>', 'settings, TOML')
    .option('--take-over', 'have the service that runs in --state stop, and go on with its clients')
    .option('--detach', 'return once it serves; it goes on by itself')
    .action(does(serve));
  program
    .command('quickstart')
    .description('serve a ready pool, volume and export from one folder')
    .option('--state <dir>', 'the folder', './varve-data')
    .action(does(quickstart));
  program
    .command('demo')
    .description('the whole tour on an embedded default, then tidy up')
    .option('--keep', 'keep its folder')
    .action(does(demo));
  program
    .command('doctor')
    .description('kernel, libraries, limits: what is missing and how to get it')
    .action(does(doctor));
  program
    .command('status')
    .description('one screen: health, pools, disks, operations, what to do')
    .option('--watch', 'again every two seconds')
    .action(does(status));
  program
    .command('events')
    .description('what happened')
    .option('--follow', 'and what happens from now on')
    .option('--since <time>', 'from then on: 2h (ago), 2026-01-31T08:00:00Z')
    .action(does(events));
  program
    .command('completion')
    .description('completions for a shell: source <(varve completion bash)')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .action(
      does(async (context, [shell]: [Shell]) => context.write(completionScript(program, shell))),
    );
}

/** Only these three load more than the command itself. */
async function serve(
  _: Context,
  __: [],
  { detach, ...options }: ServeOptions & { detach?: boolean },
): Promise<void> {
  if (detach) return await serveDetached();
  const { serve: serveUntilAsked } = await import('../../api/main.ts');
  await serveUntilAsked(options, tellStarter);
}

async function quickstart(_: Context, __: [], { state }: { state: string }): Promise<void> {
  const { quickstart: run } = await import('../quickstart.ts');
  await run(state);
}

async function demo(context: Context, _: [], { keep }: { keep?: boolean }): Promise<void> {
  const { demo: run } = await import('../demo.ts');
  await run(context, keep ?? false);
}

async function doctor(context: Context): Promise<void> {
  const { doctor: run } = await import('../doctor.ts');
  await run(context);
}

async function status(context: Context, _: [], { watch }: { watch?: boolean }): Promise<void> {
  await (watch ? watchStatus(context) : writeStatus(context));
}

async function events(
  context: Context,
  _: [],
  options: { follow?: boolean; since?: string },
): Promise<void> {
  await writeEvents(context, options);
}
