"""What the pages can run: a closed set of commands, each made of checked fields.

A link can open a form with some fields filled in:

    run.html?action=reproduce&target=train            dvc repro train
    run.html?action=experiment&preset=short&name=try&train.epochs=3
    run.html?action=sweep&file=sweeps/lr.yaml
    run.html?action=promote&version=1.2.0&stage=production&reason=...
    run.html?action=rollback&to=1.1.0&stage=production&reason=...

`force=on` is "although the gate blocks" (promote) or "although the model can't be checked"
(rollback). Parameters have their dotted names. Nothing runs until the form is sent.
"""
