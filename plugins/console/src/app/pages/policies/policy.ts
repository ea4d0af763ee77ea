import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  ElementRef,
  forwardRef,
  inject,
  input,
  signal,
  untracked,
  viewChild,
} from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatDialog } from '@angular/material/dialog';
import { MatTabsModule } from '@angular/material/tabs';
import { Router, RouterLink } from '@angular/router';
import { mdiAlert, mdiCheckCircleOutline, mdiFileCodeOutline, mdiInformationOutline } from '@mdi/js';
import { firstValueFrom } from 'rxjs';
import { Api, ApiError } from '../../core/api';
import { counted } from '../../core/format';
import { PolicyProblem, Revision } from '../../core/models';
import { PageTitle } from '../../core/page-title';
import { Confirm } from '../../ui/confirm';
import { Icon } from '../../ui/icon';
import { Empty, Loading, Problem } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { PolicyText } from '../../ui/policy-line';
import { Time } from '../../ui/time';
import { Toast } from '../../ui/toast';
import { ActivateDialog } from './activate';
import { PolicyFields } from './completion';
import { ConflictDialog } from './conflict';
import { PolicyDocument } from './document';
import { CodeEditor } from './editor/code-editor';
import { DiffView } from './editor/diff-view';
import { ReplayPanel } from './panel/replay';
import { Revisions } from './panel/revisions';
import { Simulate } from './panel/simulate';
import { Tests } from './panel/tests';
import { ProblemList } from './problem-list';
import { authorName, byAuthor, nameProblem, problemWords, quoted, short } from './source';
import { StageBars } from './stage-bars';

const TABS = ['simulate', 'replay', 'tests', 'revisions'];

/** One policy: its text, and beside it what it would do, what it did, its tests and what it was. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  providers: [PolicyDocument, { provide: PolicyText, useExisting: forwardRef(() => PolicyPage) }],
  imports: [
    CodeEditor,
    DiffView,
    Empty,
    Icon,
    Loading,
    MatButtonModule,
    MatTabsModule,
    PageHeader,
    Problem,
    ProblemList,
    ReplayPanel,
    Revisions,
    RouterLink,
    Simulate,
    StageBars,
    Tests,
    Time,
  ],
  templateUrl: './policy.html',
  styleUrl: './policy.scss',
  host: { '(window:beforeunload)': 'onUnload($event)', '(document:keydown)': 'onKey($event)' },
})
export class PolicyPage implements PolicyText {
  private readonly api = inject(Api);
  private readonly router = inject(Router);
  private readonly dialog = inject(MatDialog);
  private readonly confirm = inject(Confirm);
  private readonly toast = inject(Toast);
  protected readonly policy = inject(PolicyDocument);
  private readonly editor = viewChild(CodeEditor);
  private readonly heading = viewChild<ElementRef<HTMLElement>>('heading');

  readonly name = input.required<string>();
  /** Of a policy that is yet to be made: the one it starts from, '' for none. */
  readonly from = input<string>();
  readonly line = input<string>();
  readonly revision = input<string>();
  readonly compare = input<string>();
  readonly tab = input<string>();

  protected readonly icons = { mdiAlert, mdiCheckCircleOutline, mdiFileCodeOutline, mdiInformationOutline };
  protected readonly short = short;
  protected readonly authorName = authorName;
  protected readonly byAuthor = byAuthor;
  protected readonly counted = counted;
  protected readonly quoted = quoted;
  protected readonly problemWords = problemWords;
  protected readonly fields = signal<PolicyFields | null>(null);
  protected readonly missed = signal<number[]>([]);
  protected readonly other = signal<Revision | null>(null); // that is compared
  protected readonly lookError = signal<ApiError | null>(null);
  protected readonly tabs = computed(() => (this.policy.isNew() ? TABS.filter((tab) => tab === 'simulate') : TABS));
  protected readonly tabIndex = computed(() => Math.max(0, this.tabs().indexOf(this.tab() ?? '')));
  protected readonly markedLine = computed(() => Number(this.line()) || null);
  protected readonly nameProblem = computed(() => nameProblem(this.name()));

  constructor() {
    const title = inject(PageTitle);
    effect(() => {
      const [name, from] = [this.name(), untracked(this.from)];
      title.set(name);
      untracked(() => this.policy.load(name, from));
    });
    const base = computed(() => this.policy.base()?.revision);
    effect(() => {
      const [revision, compare] = [this.revision(), this.compare()];
      if (!this.policy.loading() && base()) untracked(() => this.lookAt(revision, compare));
    });
    this.api.get<PolicyFields>('/policies/fields').then(
      (fields) => this.fields.set(fields),
      () => {}, // then only Lua's own words are offered
    );
  }

  private async lookAt(revision?: string, compare?: string): Promise<void> {
    this.lookError.set(null);
    if (!revision || this.policy.base()?.revision.startsWith(revision)) this.policy.viewed.set(null);
    if (!compare) this.other.set(null);
    try {
      if (revision && !this.policy.base()?.revision.startsWith(revision)) {
        if (!this.policy.viewed()?.revision.startsWith(revision))
          this.policy.viewed.set(await this.policy.revision(revision));
      } else if (compare && !this.other()?.revision.startsWith(compare)) {
        this.other.set(await this.policy.revision(compare));
      }
    } catch (error) {
      this.lookError.set(ApiError.of(error));
    }
  }

  protected query(queryParams: Record<string, string | number | null>, replaceUrl = true): Promise<boolean> {
    return this.router.navigate([], { queryParams, queryParamsHandling: 'merge', replaceUrl });
  }

  protected choose(index: number): void {
    if (index !== this.tabIndex()) this.query({ tab: this.tabs()[index] });
  }

  protected async closeOther(): Promise<void> {
    await this.query({ compare: null, revision: null, line: null }, false);
    this.land();
  }

  /** Where the focus goes when what had it is gone. */
  protected land(): void {
    setTimeout(() => this.heading()?.nativeElement.focus({ preventScroll: true }));
  }

  /** Writes on from another revision's text. */
  protected async take(one: Revision): Promise<void> {
    if (this.policy.dirty()) this.policy.discard();
    this.policy.text.set(one.source);
    await this.closeOther();
  }

  async goTo(line: number, column?: number | null): Promise<void> {
    if (this.compare()) await this.query({ compare: null });
    setTimeout(() => this.editor()?.goTo(line, column));
  }

  protected open(problem: PolicyProblem): void {
    this.goTo(problem.line ?? 1, problem.column);
  }

  protected canActivate(): boolean {
    return !this.policy.viewed() && this.policy.dirty() && !(this.policy.isNew() && this.nameProblem());
  }

  protected async activate(): Promise<void> {
    if (!this.canActivate()) return;
    if (this.policy.newer()) return this.resolve();
    const { policy } = this;
    const made = policy.isNew();
    const ref = this.dialog.open<ActivateDialog, PolicyDocument, 'activated' | 'faster'>(ActivateDialog, {
      data: policy,
      width: '860px',
      maxWidth: '94vw',
      autoFocus: 'input',
    });
    const done = await firstValueFrom(ref.afterClosed());
    if (done === 'faster') return this.resolve();
    if (done !== 'activated') return;
    this.toast.show(`Revision ${short(policy.base()!.revision)} is in force.`);
    if (made) await this.query({ from: null });
    this.land();
  }

  /** Two texts where one is wanted. */
  protected async resolve(): Promise<void> {
    const theirs = this.policy.newer();
    if (!theirs) return;
    const ref = this.dialog.open<ConflictDialog, PolicyDocument, 'theirs' | { merged: string }>(ConflictDialog, {
      data: this.policy,
      width: '860px',
      maxWidth: '94vw',
      autoFocus: 'dialog',
    });
    const way = await firstValueFrom(ref.afterClosed());
    if (way === 'theirs') this.policy.takeTheirs(theirs);
    else if (way) {
      this.policy.takeMerged(theirs, way.merged);
      this.toast.show('Merged. Nothing is activated yet.');
    }
  }

  protected async goBack(): Promise<void> {
    const now = this.policy.inForce()!;
    const users = now.rollouts ? ` ${counted(now.rollouts, 'running rollout')} will go on by it.` : '';
    const sure = await this.confirm.ask({
      title: 'Go back to the revision before?',
      text: `Revision ${short(now.parent!)} comes into force again in the place of ${short(now.revision)}.${users}`,
      verb: 'Go back',
    });
    if (sure === undefined) return;
    await this.toast.around(() => this.policy.goBack(), `Revision ${short(now.parent!)} is in force again.`);
  }

  protected discard(): void {
    this.policy.discard();
    this.land();
    this.toast.show('Your changes are put aside. They can be restored.');
  }

  /** Asked by the router. */
  async mayLeave(): Promise<boolean> {
    if (!this.policy.dirty()) return true;
    const sure = await this.confirm.ask({
      title: 'Leave with unsaved changes?',
      text: 'Your text is not activated. It is kept in this tab, and offered when you come back.',
      verb: 'Leave',
    });
    return sure !== undefined;
  }

  protected onUnload(event: BeforeUnloadEvent): void {
    if (this.policy.dirty()) event.preventDefault();
  }

  /** Control-S, wherever the page has the focus. The editor takes its own. */
  protected onKey(event: KeyboardEvent): void {
    if (event.key !== 's' || !(event.ctrlKey || event.metaKey) || event.altKey || event.defaultPrevented) return;
    event.preventDefault();
    if (!this.dialog.openDialogs.length) this.activate();
  }
}
