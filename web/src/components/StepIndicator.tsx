import { Tooltip } from '@pf/Tooltip'
import CheckIcon from '@icons/check-icon'
import ExclamationIcon from '@icons/exclamation-icon'
import type { Schemas } from '../api/client'
import { useTexts } from '../preferences'

type Step = Schemas['Step']

/** The step on which the upgrade stands: the first that is not done. */
export const openStep = (steps: Step[]): Step | undefined => steps.find((s) => s.state !== 'Done')

function Mark({ step }: { step: Step }) {
  switch (step.state) {
    case 'Done':
      return <CheckIcon />
    case 'Failed':
    case 'Attention':
      return <ExclamationIcon />
    default:
      return <>{step.number}</>
  }
}

/** The five steps of an upgrade in one line; what each one says shows when it is pointed at, and is read by screen readers. */
export function StepIndicator({ steps }: { steps: Step[] }) {
  const t = useTexts()
  return (
    <ol className="ml-steps" aria-label={t.steps.label}>
      {steps.map((s) => {
        const name = t.steps.names[s.number - 1] ?? s.title
        return (
          <li key={s.number} className={`ml-step ml-step-${s.state.toLowerCase()}`} aria-current={s.state === 'Active' ? 'step' : undefined}>
            <Tooltip aria="none" content={[`${t.steps.step(s.number, name)} – ${t.states[s.state]}`, s.message].filter(Boolean).join(': ')}>
              <span className="ml-step-mark" aria-hidden>
                <Mark step={s} />
              </span>
            </Tooltip>
            <span className="pf-v6-screen-reader">{t.steps.spoken(s.number, name, t.states[s.state])}</span>
          </li>
        )
      })}
    </ol>
  )
}
