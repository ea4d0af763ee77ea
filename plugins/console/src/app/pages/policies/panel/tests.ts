import { ChangeDetectionStrategy, Component, computed, effect, inject, output, signal, viewChild } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { mdiCheckCircle, mdiCloseCircle, mdiFlaskEmptyOutline } from '@mdi/js';
import { Api, ApiError, whileHere } from '../../../core/api';
import { count, counted, percent } from '../../../core/format';
import { TestRun } from '../../../core/models';
import { Icon } from '../../../ui/icon';
import { Empty, Problem } from '../../../ui/notice';
import { PolicyText } from '../../../ui/policy-line';
import { PolicyDocument } from '../document';
import { CodeEditor } from '../editor/code-editor';
import { ranges } from '../source';

/** The policy's tests with the text as it is in the editor, and what of it they run. */
@Component({
  selector: 'otad-tests',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [CodeEditor, Empty, Icon, MatButtonModule, Problem],
  templateUrl: './tests.html',
  styleUrls: ['./panel.scss', './tests.scss'],
})
export class Tests {
  private readonly api = inject(Api);
  private readonly signal = whileHere();
  protected readonly policy = inject(PolicyDocument);
  protected readonly text = inject(PolicyText);
  private readonly editor = viewChild(CodeEditor);
  /** Lines that no test ran. */
  readonly missed = output<number[]>();

  protected readonly icons = { mdiCheckCircle, mdiCloseCircle, mdiFlaskEmptyOutline };
  protected readonly busy = signal(false);
  protected readonly error = signal<ApiError | null>(null);
  protected readonly result = signal<{ run: TestRun; source: string } | null>(null);
  protected readonly source = signal('');
  protected readonly open = signal(false); // that source
  protected readonly stale = computed(() => this.result()?.source !== this.policy.shown());
  protected readonly file = computed(() => `scripts/policies/${this.policy.name()}_test.lua`);
  /** Those that failed first. */
  protected readonly tests = computed(() =>
    [...(this.result()?.run.tests ?? [])].sort((a, b) => Number(a.ok) - Number(b.ok)),
  );
  protected readonly uncovered = computed(() => ranges(this.result()?.run.coverage.missed ?? []));
  protected readonly count = count;
  protected readonly counted = counted;
  protected readonly percent = percent;
  protected readonly words = (name: string) => name.replaceAll('_', ' ');

  constructor() {
    effect(() => {
      const result = this.result();
      this.missed.emit(result && !this.stale() ? result.run.coverage.missed : []);
    });
    this.api.get<{ tests: string | null }>(this.path()).then(
      ({ tests }) => this.source.set(tests ?? ''),
      () => {}, // to look at only
    );
    if (!this.policy.errors()) this.run();
  }

  private path(): string {
    return `/policies/${encodeURIComponent(this.policy.name())}/test`;
  }

  protected async run(): Promise<void> {
    const source = this.policy.shown();
    this.busy.set(true);
    this.error.set(null);
    try {
      const run = await this.api.send<TestRun>('POST', this.path(), { body: { source }, signal: this.signal });
      this.result.set({ run, source });
    } catch (error) {
      this.error.set(ApiError.of(error));
    } finally {
      this.busy.set(false);
    }
  }

  /** Shows a line of the file with the tests. */
  protected show(line: number): void {
    this.open.set(true);
    setTimeout(() => this.editor()?.goTo(line), 50);
  }
}
