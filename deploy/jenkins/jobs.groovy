// A job per stage, for the Job DSL plugin: a seed job that has this project checked out runs it. docs/jenkins.md says the rest.
[
    'build_package',
    'functional_tests',
    'compose_ostree',
    'integration_tests',
    'generate_image',
    'smoke_test',
].each { stage ->
    pipelineJob("ci-pipeline-${stage}") {
        description("Stage ${stage} of CI-Pipeline, asked for by the pipeline. Made by the Job DSL: changes here do not last.")
        logRotator {
            daysToKeep(14)
            artifactDaysToKeep(14)
        }
        parameters {
            textParam('REQUEST', '', 'the request of the stage (JSON); the pipeline sends it')
            stringParam('TOKEN', '', 'the name by which the pipeline finds this build again')
        }
        definition {
            cps {
                script(readFileFromWorkspace('deploy/jenkins/Jenkinsfile'))
                sandbox()
            }
        }
    }
}
